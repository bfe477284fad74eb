//go:build !cgo

package treecache

// Without cgo nothing of this package can be built. What the compiler says is this line.
var _ int = "treecache needs cgo: set CGO_ENABLED=1 and have a C compiler (docs/go.md, Building)"

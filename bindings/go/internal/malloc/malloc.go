// Package malloc tells how much memory C has allocated, so that tests may see what was not freed. (Tests themselves
// cannot use cgo.)
package malloc

// #include <malloc.h>
import "C"

// InUse returns how many bytes are allocated with malloc.
func InUse() int64 {
	info := C.mallinfo2()
	return int64(info.uordblks + info.hblkhd)
}

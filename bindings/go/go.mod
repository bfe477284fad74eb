module github.com/libtreecache/libtreecache/bindings/go

go 1.25

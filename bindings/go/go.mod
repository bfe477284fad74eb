module treecache

go 1.25

# Read by cpack for each kind of package that it makes.
if(CPACK_GENERATOR STREQUAL "RPM")
  list(REMOVE_ITEM CPACK_COMPONENTS_ALL treecache_python) # pip installs it there
endif()

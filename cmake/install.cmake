# SPDX-License-Identifier: BSD-2-Clause
# What `cmake --install` puts where; a prefix that is chosen at install time works (pkg-config and CMake find themselves).
#	include/memapi/	lib/libmemapi.{so,a}	lib/libmemapi-preload.so	lib/pkgconfig/memapi.pc	lib/cmake/memapi/	bin/mmd bin/mmctl
#	lib/memapi/NAME.so	share/man/	lib/systemd/system/mmd.service	share/doc/memapi/mmd.conf	share/bash-completion/completions/mmctl
include(CMakePackageConfigHelpers)

install(DIRECTORY include/memapi DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

# The soname changes when programs must be linked anew: with the major version, and before 1.0 with the minor one.
set_target_properties(memapi PROPERTIES VERSION ${PROJECT_VERSION}
	SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
install(TARGETS memapi memapi_static EXPORT memapi
	LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
	INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET memapi_preload)
	install(TARGETS memapi_preload LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})	# mmctl finds it from bin/
endif()
install(EXPORT memapi NAMESPACE memapi:: FILE memapiTargets.cmake DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/memapi)
file(WRITE ${CMAKE_BINARY_DIR}/memapiConfig.cmake "# Targets: memapi::memapi (shared), memapi::memapi_static\n"
	"include(CMakeFindDependencyMacro)\nfind_dependency(Threads)\n"
	"include(\${CMAKE_CURRENT_LIST_DIR}/memapiTargets.cmake)\n")
write_basic_package_version_file(${CMAKE_BINARY_DIR}/memapiConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/memapiConfig.cmake ${CMAKE_BINARY_DIR}/memapiConfigVersion.cmake
	DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/memapi)

# pkg-config finds the prefix from where memapi.pc lies: from lib/…/pkgconfig up to it.
file(RELATIVE_PATH MEMAPI_UP /p/${CMAKE_INSTALL_LIBDIR}/pkgconfig /p)
configure_file(packaging/memapi.pc.in ${CMAKE_BINARY_DIR}/memapi.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/memapi.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(TARGET mmd)
	# In whatever prefix: mmd finds the library that it came with.
	set_target_properties(mmd PROPERTIES INSTALL_RPATH "\$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
	configure_file(packaging/mmd.service.in ${CMAKE_BINARY_DIR}/mmd.service @ONLY)
	install(FILES ${CMAKE_BINARY_DIR}/mmd.service DESTINATION lib/systemd/system)
endif()
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN *.md PATTERN gen EXCLUDE)

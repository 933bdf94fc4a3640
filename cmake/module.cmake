# SPDX-License-Identifier: BSD-2-Clause
# memapi_module(NAME SOURCE LIBRARY HEADER PACKAGE) - a manager in a shared object of its own, build/…/lib/memapi/NAME.so,
# over a library of the system. Its switch MEM_MODULE_NAME turns it off; on, what is missing is an error that names the
# package. With no LIBRARY it needs none. MEMAPI_MODULES: the names built.
set(MEMAPI_MODULES "" CACHE INTERNAL "")
set(MEMAPI_MODULE_DIR ${CMAKE_INSTALL_LIBDIR}/memapi)

function(memapi_module name source)
	set(library "${ARGV2}")
	set(header "${ARGV3}")
	set(package "${ARGV4}")
	string(TOUPPER ${name} upper)
	if(library)
		option(MEM_MODULE_${upper} "build the module ${name}" ON)
		if(NOT MEM_MODULE_${upper})
			return()
		endif()
		find_library(MEM_MODULE_${upper}_LIBRARY NAMES ${library})
		find_path(MEM_MODULE_${upper}_INCLUDE ${header})
		if(NOT MEM_MODULE_${upper}_LIBRARY OR NOT MEM_MODULE_${upper}_INCLUDE)
			message(FATAL_ERROR "The module ${name} needs lib${library} and <${header}>: "
				"install Debian's package ${package}, or leave it out with -DMEM_MODULE_${upper}=OFF")
		endif()
	endif()
	add_library(module_${name} MODULE ${source})
	set_target_properties(module_${name} PROPERTIES PREFIX "" OUTPUT_NAME ${name}
		LIBRARY_OUTPUT_DIRECTORY ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/memapi)
	target_compile_definitions(module_${name} PRIVATE MEM_DOMAIN_PKG=1)
	target_compile_options(module_${name} PRIVATE -fno-plt)
	if(library)
		target_include_directories(module_${name} SYSTEM PRIVATE ${MEM_MODULE_${upper}_INCLUDE})
		target_link_libraries(module_${name} PRIVATE ${MEM_MODULE_${upper}_LIBRARY})
	endif()
	set(MEMAPI_MODULES ${MEMAPI_MODULES} ${name} CACHE INTERNAL "")
	install(TARGETS module_${name} LIBRARY DESTINATION ${MEMAPI_MODULE_DIR})
endfunction()

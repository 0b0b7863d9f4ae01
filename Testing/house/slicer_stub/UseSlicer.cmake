# Slicer's Use file turns testing on and brings the macros.
include(CTest)
set(EXTENSION_NAME "${PROJECT_NAME}")

function(_stub_copy base destination)
  foreach(file IN LISTS ARGN)
    if(NOT EXISTS "${base}/${file}")
      message(FATAL_ERROR "given nonexistent file or directory '${file}' in ${base}")
    endif()
    configure_file("${base}/${file}" "${destination}/${file}" COPYONLY)
  endforeach()
endfunction()

# Arguments and places of CTK's CMake/ctkMacroCompilePythonScript.cmake.
function(ctkMacroCompilePythonScript)
  cmake_parse_arguments(MY "NO_INSTALL_SUBDIR;GLOBAL_TARGET" "TARGET_NAME;SOURCE_DIR;DESTINATION_DIR;INSTALL_DIR"
    "SCRIPTS;RESOURCES" ${ARGN})
  foreach(name TARGET_NAME SCRIPTS DESTINATION_DIR INSTALL_DIR)
    if(NOT DEFINED MY_${name})
      message(FATAL_ERROR "${name} is mandatory")
    endif()
  endforeach()
  if(NOT DEFINED MY_SOURCE_DIR)
    set(MY_SOURCE_DIR "${CMAKE_CURRENT_SOURCE_DIR}")
  endif()
  add_custom_target(Copy${MY_TARGET_NAME}PythonScriptFiles)
  _stub_copy("${MY_SOURCE_DIR}" "${MY_DESTINATION_DIR}" ${MY_SCRIPTS} ${MY_RESOURCES})
  set(installed "${MY_DESTINATION_DIR}")
  if(MY_NO_INSTALL_SUBDIR)
    set(installed "${MY_DESTINATION_DIR}/")
  endif()
  install(DIRECTORY "${installed}" DESTINATION "${MY_INSTALL_DIR}" COMPONENT RuntimeLibraries USE_SOURCE_PERMISSIONS)
endfunction()

# Arguments and checks of Slicer's CMake/SlicerMacroBuildScriptedModule.cmake.
function(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "Unknown keywords given to slicerMacroBuildScriptedModule(): \"${MY_UNPARSED_ARGUMENTS}\"")
  endif()
  if(NOT DEFINED MY_NAME)
    message(FATAL_ERROR "NAME is mandatory")
  endif()
  ctkMacroCompilePythonScript(
    TARGET_NAME ${MY_NAME}
    SCRIPTS "${MY_SCRIPTS}"
    RESOURCES "${MY_RESOURCES}"
    DESTINATION_DIR ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}
    INSTALL_DIR ${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}
    NO_INSTALL_SUBDIR
    )
endfunction()

function(_stub_add_test name script)
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${script}")
    message(FATAL_ERROR "the test ${script} does not exist in ${CMAKE_CURRENT_SOURCE_DIR}")
  endif()
  add_test(NAME ${name} COMMAND ${CMAKE_COMMAND} -E echo ${script})
endfunction()

# Names of the tests as in Slicer's CMake/SlicerMacroPythonTesting.cmake.
function(slicer_add_python_test)
  cmake_parse_arguments(MY "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS;SCRIPT_ARGS" ${ARGN})
  get_filename_component(name ${MY_SCRIPT} NAME_WE)
  _stub_add_test(py_${MY_TESTNAME_PREFIX}${name} ${MY_SCRIPT})
endfunction()

function(slicer_add_python_unittest)
  slicer_add_python_test(${ARGN})
endfunction()

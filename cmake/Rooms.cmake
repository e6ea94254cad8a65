# segue_room(NAME SOURCES a.c b.c [USES rooms...] [LIBS foreign...])
#   A static library whose folder is its only public include path. LIBS are PRIVATE: no
#   other room can include a foreign header by way of this one.
function(segue_room name)
    cmake_parse_arguments(ROOM "" "" "SOURCES;USES;LIBS" ${ARGN})
    add_library(${name} STATIC ${ROOM_SOURCES})
    target_include_directories(${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(${name} PUBLIC ${ROOM_USES} PRIVATE ${ROOM_LIBS})
endfunction()

# segue_test(NAME SOURCES test.c... [USES rooms...] [LIBS foreign...] [ENV VAR=value...] [LABELS l...])
#   One cmocka program, registered with ctest under NAME.
function(segue_test name)
    cmake_parse_arguments(T "" "" "SOURCES;USES;LIBS;LABELS" ${ARGN})
    add_executable(test_${name} ${T_SOURCES})
    target_link_libraries(test_${name} PRIVATE ${T_USES} ${T_LIBS} PkgConfig::CMOCKA Threads::Threads)
    set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    add_test(NAME ${name} COMMAND test_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES TIMEOUT 300 LABELS "${T_LABELS}")
endfunction()

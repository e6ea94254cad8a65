# What `cmake --install` puts where: programs, man pages, the settings file to start from.
foreach(program task_manager data_processor data_processor-worker taskctl)
    if(TARGET ${program})
        install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    endif()
endforeach()
file(GLOB man_pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/man/*.1)
install(FILES ${man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_SOURCE_DIR}/man/segue-backup.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
# The scripts find what they share beside themselves, by way of the link.
install(PROGRAMS ${CMAKE_SOURCE_DIR}/scripts/backup.sh ${CMAKE_SOURCE_DIR}/scripts/restore.sh
    DESTINATION ${CMAKE_INSTALL_DATADIR}/segue)
install(FILES ${CMAKE_SOURCE_DIR}/scripts/backup_lib.sh DESTINATION ${CMAKE_INSTALL_DATADIR}/segue)
foreach(name backup restore)
    file(CREATE_LINK ../share/segue/${name}.sh ${CMAKE_BINARY_DIR}/segue-${name} SYMBOLIC)
    install(FILES ${CMAKE_BINARY_DIR}/segue-${name} DESTINATION ${CMAKE_INSTALL_SBINDIR})
endforeach()
install(FILES ${CMAKE_SOURCE_DIR}/packaging/segue.env.example DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${CMAKE_SOURCE_DIR}/docs/config.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(CMAKE_INSTALL_PREFIX STREQUAL "/usr")
    include(${CMAKE_CURRENT_LIST_DIR}/Package.cmake) # a system's own: units, /etc, users
endif()

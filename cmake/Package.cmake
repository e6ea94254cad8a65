# The Debian package (cpack -G DEB; packaging/deb/build.sh does all of it). CPack rather than
# debhelper: what goes where is said once, in Install.cmake, for `cmake --install` and for the
# package, and cmake is there already. dpkg-shlibdeps finds the libraries it depends on.
set(packaging ${CMAKE_SOURCE_DIR}/packaging)
set(made ${CMAKE_BINARY_DIR}/packaging)
file(MAKE_DIRECTORY ${made})

foreach(unit task-manager data-processor)
    configure_file(${packaging}/systemd/${unit}.service.in ${made}/${unit}.service @ONLY)
    install(FILES ${made}/${unit}.service DESTINATION lib/systemd/system)
endforeach()
install(FILES ${packaging}/systemd/segue.sysusers DESTINATION lib/sysusers.d RENAME segue.conf)
install(FILES ${packaging}/systemd/segue.tmpfiles DESTINATION lib/tmpfiles.d RENAME segue.conf)

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
    ${packaging}/segue.env.example ${packaging}/deb/env.sh)
execute_process(COMMAND ${packaging}/deb/env.sh INPUT_FILE ${packaging}/segue.env.example
    OUTPUT_FILE ${made}/segue.env COMMAND_ERROR_IS_FATAL ANY)
# may come to hold a password; systemd reads it as root
install(FILES ${made}/segue.env DESTINATION /etc/segue PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)

file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/*.md)
install(FILES ${pages} DESTINATION share/doc/segue)
install(FILES ${packaging}/deb/copyright DESTINATION share/doc/segue)

# What Debian wants beside a program, packed as Debian wants it.
install(FILES ${CMAKE_SOURCE_DIR}/CHANGELOG.md DESTINATION share/doc/segue RENAME changelog)
file(STRINGS /etc/os-release release REGEX "^VERSION_ID=")
string(REGEX REPLACE "[^0-9.]" "" release "${release}")

string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${made}/changelog.Debian "segue (${PROJECT_VERSION}-1~deb${release}) stable; urgency=medium

  * Built from the sources of this version; changelog.gz says what has changed.

 -- Segue maintainers <maintainers@segue.invalid>  ${date}
")
install(FILES ${made}/changelog.Debian DESTINATION share/doc/segue)
install(CODE [[
    file(GLOB pages $ENV{DESTDIR}/usr/share/man/man*/*.[18] $ENV{DESTDIR}/usr/share/doc/segue/changelog*)
    execute_process(COMMAND gzip -9nf ${pages} COMMAND_ERROR_IS_FATAL ANY)
    set(man $ENV{DESTDIR}/usr/share/man)
    file(CREATE_LINK data_processor.1.gz ${man}/man1/data_processor-worker.1.gz SYMBOLIC)
    file(CREATE_LINK segue-backup.8.gz ${man}/man8/segue-restore.8.gz SYMBOLIC)]])

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME segue)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "Segue maintainers <maintainers@segue.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
# sorts below a later release's, so that an upgrade of the system brings that one
set(CPACK_DEBIAN_PACKAGE_RELEASE 1~deb${release})
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS
    "systemd | systemd-standalone-sysusers, systemd | systemd-standalone-tmpfiles")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "git, ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "sqlite3 | mariadb-client, mariadb-server | default-mysql-server, rabbitmq-server")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Accepts tasks over HTTP, keeps them in SQLite or MySQL, and has workers
run each in a process of its own. Contains the task manager, the worker
and the command line client, with systemd units that start on one machine
without further configuration.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${packaging}/deb/postinst ${packaging}/deb/prerm ${packaging}/deb/postrm
    ${packaging}/deb/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)

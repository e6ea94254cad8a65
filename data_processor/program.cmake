# The worker program.
add_executable(data_processor main.c app.c bar.c command.c outfile.c)
target_link_libraries(data_processor PRIVATE base domain codec objstore net broker csv jobs runtime)

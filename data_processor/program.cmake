# The program that people start, and the worker that it turns into: one beside the other.
add_executable(data_processor main.c bar.c command.c outfile.c parquet_out.c)
target_link_libraries(data_processor PRIVATE base csv plays)
add_executable(data_processor-worker worker_main.c app.c)
target_link_libraries(data_processor-worker PRIVATE
    base domain codec objstore net broker blobs csv repo jobs runtime)
add_dependencies(data_processor data_processor-worker)

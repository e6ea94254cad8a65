add_executable(task_manager main.c app.c supervisor.c)
target_link_libraries(task_manager PRIVATE http)

add_executable(task_manager main.c alive.c app.c health.c startup.c supervisor.c)
target_link_libraries(task_manager PRIVATE http net)

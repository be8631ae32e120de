"""What can be learnt, one kind a file; `mil.tasks.task.TASKS` names them."""

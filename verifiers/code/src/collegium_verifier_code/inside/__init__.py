"""What runs inside the sandbox. Standard library only: a bare interpreter imports it before the walls go up.

Processes, outermost first::

    shim           waits for the supervisor; holds the namespaces open
    supervisor     pid 1 of the sandbox; never reads an item; forks a grader per item, then kills all that is left
    grader         reads the item; runs the test code; talks to the submission over two pipes
    submission     pid 1 of its own inner pid namespace; forked before the item was read, so no test is in its memory
"""

"""The job contract: all that a producer and a worker agree on.

Both ends import this package and nothing else of each other's. It holds the job's schema and its
limits (:mod:`.job`), its form on the wire (:mod:`.message`), where it waits in Redis
(:mod:`.queues`), which models there are (:mod:`.catalog`), and the settings that both need
(:mod:`.settings`).
"""

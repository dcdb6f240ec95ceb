"""What the tests share: programs, clocks, models of agents, a Loki, schedules."""

"""Actor, learner and supervisor: distributed online training over LeRobot's gRPC transport."""

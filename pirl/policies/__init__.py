"""LeRobot's policies as PI-RL sees them: adapters of flow policies, pipelines, export, tokenizer."""

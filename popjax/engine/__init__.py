"""A population in training: members, programs, plan, cost, memory, backends. Knows tasks, not what they learn."""

"""A population in training: members, programs, plan, cost, memory, backends. Independent of what a task learns."""

"""A simulation of autoscaling: the number of workers that jobfleet asks for, compared with that by queue length."""

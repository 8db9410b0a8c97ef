"""What a job function is: registry, decorator, injection, context, hooks, resources and steps. No Redis."""

"""Job functions: registry, decorator, injection, context, hooks, resources and steps. No Redis."""

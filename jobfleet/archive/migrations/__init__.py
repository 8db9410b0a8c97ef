"""The archive's migrations, run by `init_job_tables` and ``jobfleet archive init``."""

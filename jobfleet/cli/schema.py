"""The form of all JSON output, with the values hidden that the settings name."""

from __future__ import annotations

from jobfleet.cli.hidden import REDACTION
from jobfleet.client.json_form import JsonForm

FORM = JsonForm(REDACTION)

job_data = FORM.job
details_data = FORM.details
letter_data = FORM.letter
queue_data = FORM.queue
history_data = FORM.history
scale_data = FORM.scale
limit_data = FORM.limit
sequence_data = FORM.sequence
named_limit_data = FORM.named_limit
breaker_data = FORM.breaker
worker_data = FORM.worker
explanation_data = FORM.explanation
diagnosis_data = FORM.diagnosis
group_data = FORM.group
rescue_data = FORM.rescue
repair_data = FORM.repair
confirmation_data = FORM.confirmation
cron_data = FORM.cron
fire_data = FORM.fire
audit_data = FORM.audit
chunk_data = FORM.chunk
stacks_data = FORM.stacks
jsonable = FORM.value

"""What a running job can do through its worker: extend its flow, and take locks."""

"""Job modules that are deployed with the fleet, written as a user of jobfleet writes them."""

"""What every process is built from: one package for each subject. None of them knows an order, a saga or a service."""

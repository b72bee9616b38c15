"""What a job needs of a pod or of one GPU, without having it."""

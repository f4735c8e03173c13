"""What any program needs: files, memory, compiled kernels, optional packages, plain text."""

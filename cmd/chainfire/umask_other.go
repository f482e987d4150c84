//go:build !unix

package main

// keepPrivate has nothing to do where files take the rights of their folder.
func keepPrivate() {}

// Package e2e holds tests of the whole program with the clients that people
// have: it is built and started, and asked by Go's resolver, by a library for
// Fly's names, and in the ways that flyctl asks. They need no privilege and no
// other program; those that do are in package netns.
package e2e

// Package e2e tests the whole program with real clients: Go's resolver, a library
// for Fly's names, and queries in the form that flyctl sends. The tests need no
// privilege and no other program; tests that do are in package netns.
package e2e

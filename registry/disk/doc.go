// Package disk keeps a registry in a directory of this machine, in a bbolt
// database. What Keeper.Write has acknowledged is on disk: no crash and no loss
// of power takes it away. Answers never wait for the disk, and go on when it is
// full or fails.
package disk

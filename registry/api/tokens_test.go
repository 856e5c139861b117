package api

import (
	"crypto/sha256"
	"encoding/hex"
)

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

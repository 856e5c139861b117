package echo

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed echo.c.txt
var source []byte

// Build compiles the C program into dir with cc -O2 and returns its path. It
// fails where there is no C compiler.
func Build(ctx context.Context, dir string) (string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", fmt.Errorf("find a C compiler: %w", err)
	}
	src := filepath.Join(dir, "echo.c")
	if err := os.WriteFile(src, source, 0o644); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "echo")
	if out, err := exec.CommandContext(ctx, cc, "-O2", "-o", bin, src).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the echo: %w\n%s", err, out)
	}
	return bin, nil
}

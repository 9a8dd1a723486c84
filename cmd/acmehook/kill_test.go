package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"zonebuild/dnsextra"
)

// TestKilled: a hook that is killed while it adds or removes leaves its value or
// none, never half of it, and those that stood before stay.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "acmehook")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	box := filepath.Join(dir, "dnsextra")
	if err := os.Mkdir(box, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "-C", dir, "add", "stays.example.org", fmt.Sprintf("%043d", 1)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w := dnsextra.Writer{Dir: box}
	r := rand.New(rand.NewPCG(1, 2))
	killed := 0
	for n := range 200 {
		op := []string{"add", "remove"}[n%2]
		cmd := exec.Command(program, "-C", dir, op, "example.org", fmt.Sprintf("%043d", n/2))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(r.IntN(8000)) * time.Microsecond) // a random instant is the point
		cmd.Process.Kill()
		if err := cmd.Wait(); err != nil {
			killed++
		}
		list, others, err := w.List()
		if err != nil || others > 0 || len(list) == 0 || list[len(list)-1].Owner.String() != "_acme-challenge.stays.example.org." {
			t.Fatalf("after %d: %+v, %d others, %v", n, list, others, err)
		}
	}
	if killed < 20 {
		t.Errorf("only %d runs were killed", killed)
	}
	if out, err := exec.Command(program, "-C", dir, "add", "example.org", fmt.Sprintf("%043d", 999)).CombinedOutput(); err != nil {
		t.Errorf("the next run: %v\n%s", err, out)
	}
}

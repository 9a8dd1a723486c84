package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
)

// TestGenerators: the same size gives the same bytes, on any machine, as many
// records as the tables say, and a zone without a fault or a warning.
func TestGenerators(t *testing.T) {
	for _, tt := range []struct {
		name    string
		records int
		write   func(io.Writer) error
		digest  string
	}{
		{"host", hostRecords(500), func(w io.Writer) error { return writeHosts(w, 500) }, "c82b394287317563"},
		{"empty", hostRecords(0), func(w io.Writer) error { return writeHosts(w, 0) }, "19f52ad1e1f75dd0"},
		{"tld", delegationRecords(501), func(w io.Writer) error { return writeDelegations(w, 501) }, "85dd29df0d5f7392"},
		{"small", smallRecords, func(w io.Writer) error { return writeSmall(w, 7) }, "bfafd0637b21b4db"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var text bytes.Buffer
			if err := joined(tt.write)(&text); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(text.Bytes()))[:16]; got != tt.digest {
				t.Errorf("digest %s, want %s: numbers of other versions compare no more", got, tt.digest)
			}
			records := 0
			for line := range strings.Lines(text.String()) {
				if !strings.HasPrefix(line, "$") {
					records++
				}
			}
			if records != tt.records {
				t.Errorf("%d records, want %d", records, tt.records)
			}
			dir := t.TempDir()
			made, err := newTree(dir, "denial = \"nsec3-opt-out\"\n")
			if err != nil {
				t.Fatal(err)
			}
			if err := made.add("zone.test", tt.write); err != nil {
				t.Fatal(err)
			}
			opened, faults, err := build.Open(dir)
			if err != nil || len(faults) > 0 {
				t.Fatal(faults, err)
			}
			defer opened.Close()
			faults, err = opened.Check(t.Context(), nil, time.Now())
			if err != nil || faults.HasErrors() {
				t.Errorf("check: %v, %v", faults, err)
			}
			for _, f := range faults {
				t.Errorf("check: %v", f)
			}
		})
	}
}

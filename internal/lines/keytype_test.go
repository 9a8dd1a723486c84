package lines

import "testing"

// TestKindOf: each type of keys that is made is known again.
func TestKindOf(t *testing.T) {
	for _, kind := range []string{"ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "ed25519"} {
		key, err := NewKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		spki, err := spkiOf(key)
		if err != nil || kindOf(spki) != kind {
			t.Errorf("%s is taken for %q, %v", kind, kindOf(spki), err)
		}
	}
	if got := kindOf([]byte("junk")); got != "" {
		t.Errorf("junk is taken for %q", got)
	}
}

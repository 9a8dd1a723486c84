package verify

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"math/rand/v2"
	"testing"
)

// TestAppendDER: signatures are what encoding/asn1 makes of their numbers.
func TestAppendDER(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	number := func(size int) []byte {
		b := make([]byte, size)
		for i := r.IntN(size + 1); i < size; i++ { // zeros before it, also nothing else
			b[i] = byte(r.UintN(256))
		}
		if r.IntN(4) == 0 {
			b[0] |= 0x80
		}
		return b
	}
	for range 20000 {
		size := []int{32, 48}[r.IntN(2)]
		x, y := number(size), number(size)
		want, err := asn1.Marshal([]*big.Int{new(big.Int).SetBytes(x), new(big.Int).SetBytes(y)})
		if err != nil {
			t.Fatal(err)
		}
		if got := appendDER(nil, x, y); !bytes.Equal(got, want) {
			t.Fatalf("%x %x: %x, not %x", x, y, got, want)
		}
		if len(want) > maxDER {
			t.Fatalf("%d octets", len(want))
		}
	}
}

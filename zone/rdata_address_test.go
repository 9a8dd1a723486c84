package zone

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// TestAddresses compares with net/netip, on addresses with some damage.
func TestAddresses(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const alphabet = "0123456789.:%aF-"
	good := 0
	for range 200_000 {
		text := make([]byte, r.IntN(3))
		for _, s := range []string{"0.0.0.0", "192.0.2.1", "255.255.255.255", "10.1.20.99", "::", "2001:db8::1", "::ffff:192.0.2.1"} {
			if r.IntN(4) == 0 {
				text = []byte(s)
			}
		}
		for range r.IntN(3) {
			if at := r.IntN(len(text) + 1); r.IntN(2) == 0 || at == len(text) {
				text = append(text[:at:at], append([]byte{alphabet[r.IntN(len(alphabet))]}, text[at:]...)...)
			} else {
				text[at] = alphabet[r.IntN(len(alphabet))]
			}
		}
		ip, err := netip.ParseAddr(string(text))
		for _, six := range []bool{false, true} {
			read := appendIPv4
			if six {
				read = appendIPv6
			}
			got, ok := read([]byte("x"), text)
			want := []byte("x")
			if err == nil && ip.Is6() == six && ip.Zone() == "" {
				want = append(want, ip.AsSlice()...)
				good++
			}
			if ok != (len(want) > 1) || !bytes.Equal(got, want) {
				t.Fatalf("%q is %x, %t; want %x", text, got, ok, want)
			}
		}
	}
	if good < 10_000 {
		t.Errorf("%d addresses only", good)
	}
}

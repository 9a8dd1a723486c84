package lab

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// namespaceOf names the test that runs in a namespace of its own, in its environment.
const namespaceOf = "LAB_TEST_NAMESPACE"

// InNamespace reports whether the test runs where it may mount, and nobody else sees
// it. If not, it has run it there, as another process. It needs root.
func InNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceOf) == t.Name() {
		return true
	}
	NeedRoot(t)
	cmd := exec.Command(Path(t, "unshare"), "--mount", "--propagation", "private", os.Args[0], "-test.v", "-test.run", "^"+t.Name()+"$", "-test.timeout", "5m")
	cmd.Env = append(os.Environ(), namespaceOf+"="+t.Name())
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// Mount mounts until the test ends: see mount(2).
func Mount(t testing.TB, from, to, kind string, flags uintptr, data string) {
	t.Helper()
	if err := unix.Mount(from, to, kind, flags, data); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(to, unix.MNT_DETACH) })
}

// BindReadOnly shows a directory at another place, where nobody can write to it.
func BindReadOnly(t testing.TB, from, to string) {
	t.Helper()
	Mount(t, from, to, "", unix.MS_BIND, "")
	if err := unix.Mount("", to, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}

// Unmount ends a mount.
func Unmount(t testing.TB, at string) {
	t.Helper()
	if err := unix.Unmount(at, 0); err != nil {
		t.Fatal(err)
	}
}

package experiments

import (
	"os"
	"path/filepath"
)

// envNetwork names the environment variable that allows a database on a network file
// system, with the value 1.
const envNetwork = "DDPMLAB_NETWORK_DB"

// networkSystems are file systems between machines, by the number that Linux gives them
// (statfs(2)): SQLite's write-ahead log is memory that processes share, which those of two
// machines do not.
var networkSystems = map[uint32]string{
	0x6969: "NFS", 0x517b: "SMB", 0xff534d42: "CIFS", 0xfe534d42: "SMB2", 0x5346414f: "AFS", 0x6b414653: "AFS",
	0x00c36400: "Ceph", 0x0bd00bd0: "Lustre", 0x47504653: "GPFS", 0x19830326: "BeeGFS", 0x73757245: "Coda",
	0x013111a8: "IBRIX", 0xaad7aaea: "PanFS", 0x7461636f: "OCFS2", 0x01161970: "GFS2",
}

// checkNetwork refuses a database on a network file system, unless the user says that one
// machine alone uses it. number is systemNumber but in tests.
func checkNetwork(path string, number func(dir string) uint32) error {
	name, ok := networkSystems[number(filepath.Dir(path))]
	if !ok || os.Getenv(envNetwork) == "1" {
		return nil
	}
	return &problem{path: path, kind: ErrNetwork, cure: "it is on " + name +
		", where machines would damage it for each other; name a file on a local disk by --db or DDPMLAB_DB and bring the files together by " +
		"`ddpmlab runs merge FILE`, or set " + envNetwork + "=1 where one machine alone uses it at a time"}
}

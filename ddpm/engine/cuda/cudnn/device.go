//go:build ddpmcuda

package cudnn

import "encoding/json"

// Device is what the library has to know of a GPU to plan for it.
type Device struct {
	Name               string
	Major, Minor       int   // compute capability
	Driver             int   // version of CUDA, as the driver counts
	Multiprocessors    int   // streaming multiprocessors
	Clock, MemoryClock int   // in kHz
	Memory             int64 // in bytes
	Cache              int   // of the second level, in bytes
	Shared             int   // memory of a block that a kernel may be allowed, in bytes
}

// H100 is one with HBM3.
var H100 = Device{"NVIDIA H100 80GB HBM3", 9, 0, 13000, 132, 1980000, 2619000, 85_000_000_000, 50 << 20, 227 << 10}

// json is the description that the library reads: what differs between GPUs, and what
// those of compute capability 8.0 and 9.0 have in common.
func (d Device) json() string {
	text, err := json.Marshal(map[string]any{
		"deviceVer": 100*d.Major + 10*d.Minor, "driverVer": d.Driver, "cudaDeviceId": 0, "multiProcessorCount": d.Multiprocessors,
		"smClockRateKHz": d.Clock, "memClockRateKHz": d.MemoryClock, "l2CacheSize": d.Cache, "warpSize": 32,
		"maxSharedMemoryPerBlock": 48 << 10, "maxSharedMemoryPerBlockOptin": d.Shared, "reservedSharedMemoryPerBlock": 1024,
		"oversizedSharedMemoryPerBlock": 0, "maxRegistersPerSM": 65536, "regsPerBlock": 65536, "pciDeviceId": 0,
		"maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "isTccDriver": 0, "supportCoopLaunch": 1,
		"totalGlobalMem": d.Memory, "maxGridSize": []int{1<<31 - 1, 65535, 65535}, "maxBlockSize": []int{1024, 1024, 64},
		"name": d.Name, "deviceName": d.Name,
	})
	if err != nil {
		panic(err) // of numbers and strings
	}
	return string(text)
}

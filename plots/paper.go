package plots

// What the paper reports (Ning et al. 2023, "Input Perturbation Reduces Exposure Bias in
// Diffusion Models"), as far as it stands beside our numbers. The database has the same
// rows, with sFID; a test holds the two equal.

// paperRow is the paper's value for a model on a data set at a number of sampling steps.
type paperRow struct {
	model, data string
	steps       int
	value       float64
}

// paperTable1 is the mean L1 distance of Alg. 3, by the length of the chain.
var paperTable1 = []paperRow{
	{"ADM", "imagenet32", 100, 0.0539},
	{"ADM", "imagenet32", 300, 0.1074},
	{"ADM", "imagenet32", 600, 0.1812},
	{"ADM", "imagenet32", 1000, 0.8165},
}

// paperTable2 is the FID of 50,000 samples (LSUN tower: 10,000), by sampling steps.
var paperTable2 = []paperRow{
	{"ADM", "cifar10", 1000, 3.58},
	{"ADM", "cifar10", 300, 3.47},
	{"ADM", "cifar10", 100, 3.56},
	{"ADM", "cifar10", 80, 3.74},
	{"DDPM-IP", "cifar10", 1000, 3.25},
	{"DDPM-IP", "cifar10", 300, 3.14},
	{"DDPM-IP", "cifar10", 100, 3.12},
	{"DDPM-IP", "cifar10", 80, 3.26},
	{"ADM", "imagenet32", 1000, 3.60},
	{"ADM", "imagenet32", 300, 3.58},
	{"ADM", "imagenet32", 100, 4.26},
	{"ADM", "imagenet32", 80, 4.61},
	{"DDPM-IP", "imagenet32", 1000, 2.87},
	{"DDPM-IP", "imagenet32", 300, 2.74},
	{"DDPM-IP", "imagenet32", 100, 3.24},
	{"DDPM-IP", "imagenet32", 80, 3.57},
	{"ADM", "lsun_tower64", 1000, 4.66},
	{"ADM", "lsun_tower64", 300, 4.54},
	{"ADM", "lsun_tower64", 100, 4.79},
	{"ADM", "lsun_tower64", 80, 5.66},
	{"DDPM-IP", "lsun_tower64", 1000, 4.05},
	{"DDPM-IP", "lsun_tower64", 300, 3.79},
	{"DDPM-IP", "lsun_tower64", 100, 4.13},
	{"DDPM-IP", "lsun_tower64", 80, 4.27},
}

// paperTable3 is the FID on CIFAR-10 with 1,000 sampling steps.
var paperTable3 = []paperRow{
	{"ADM", "cifar10", 1000, 3.58},
	{"ADM-GP", "cifar10", 1000, 3.28},
	{"ADM-WD", "cifar10", 1000, 3.34},
	{"DDPM-IP", "cifar10", 1000, 3.25},
}

// dataNames are the data sets as the paper writes them.
var dataNames = map[string]string{
	"cifar10":      "CIFAR-10",
	"imagenet32":   "ImageNet 32×32",
	"lsun_tower64": "LSUN tower 64×64",
}

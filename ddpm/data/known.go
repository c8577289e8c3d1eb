package data

import (
	"fmt"
	"os"
	"path/filepath"
)

// set is one that has a name but no place in this program: it is read by OpenPath from a
// folder of that name.
type set struct {
	name  string
	fetch *remote // where it is published, if anybody may fetch it
	get   string  // otherwise, how to get it
}

// known are the sets of the paper and of the authors' README, by the names of the presets.
var known = []set{
	{name: "cifar10", fetch: &remote{
		url:   "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
		bytes: 170052171, sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
	}},
	{name: "imagenet32", get: "get the npz files of \"ImageNet 32×32\" from https://image-net.org/download-images, which asks for an account"},
	{name: "lsun-tower64", get: "get http://dl.yf.io/lsun/scenes/tower_train_lmdb.zip and unpack it"},
	{name: "celeba64", get: "get img_align_celeba from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"},
	{name: "ffhq128", get: "get thumbnails128x128 from https://github.com/NVlabs/ffhq-dataset"},
}

// find is the folder or archive of the set in dir, or in the first of Folders that has it.
func (s set) find(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	folders := Folders()
	folders = folders[:len(folders)-1] // Debian has a package of Fashion-MNIST alone
	for _, d := range folders {
		for _, name := range []string{s.name, s.name + ".zip", s.name + ".npz"} {
			path := filepath.Join(d, name)
			if _, err := os.Stat(path); err == nil {
				return path, nil
			}
		}
	}
	cure := s.get + ", and train with --data PATH, its file or folder"
	if s.fetch != nil {
		cure = fmt.Sprintf("run `ddpmlab data fetch %s` (%d MB), or train with --data PATH, its file or folder", s.name, s.fetch.bytes>>20)
	}
	return "", &NotFoundError{
		File: "the data set " + s.name, Folders: folders,
		Cure: cure,
	}
}

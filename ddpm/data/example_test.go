package data_test

import (
	"fmt"

	"ddpmlab/ddpm/data"
)

func ExampleOpen() {
	set, err := data.Open("fashion-mnist", 14)
	if err != nil {
		fmt.Println(err)
		return
	}
	h, w, c := set.Shape()
	fmt.Printf("%d images of %d×%d×%d, the first of class %d\n", set.Len(), h, w, c, set.Label(0))

	_, err = data.Open("fashion-mnist", 32)
	fmt.Println(err)
	// Output:
	// 10000 images of 14×14×1, the first of class 9
	// data set fashion-mnist has no images of size 32; its sizes are 14, 28
}

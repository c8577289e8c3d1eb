package plots_test

import (
	"fmt"

	"ddpmlab/ddpm"
	"ddpmlab/internal/display"
	"ddpmlab/plots"
)

// In a notebook: plots.FDCurve(lab.Runs(cfg))
func ExampleFDCurve() {
	figure, err := plots.FDCurve(tour())
	fmt.Println(figure, err)
	// Output:
	// FD (fashion-cnn) by training step
	// step    ADM  ADM-WD  ADM-GP  DDPM-IP
	// -----  -----  ------  ------  -------
	//    10  13.70   13.51   12.96    13.04
	//   500   1.88    1.93    1.89     1.78
	// 1,000  0.736   0.772   0.857    0.682
	// 1,500  0.650   0.703   0.690    0.551
	// n = 1 seed, N = 500 samples a score. Of one seed: how much another would change is not known, differences may be luck. FD (fashion-cnn) of 500 samples against 10000 images of fashion-mnist; ancestral sampling, 50 steps, fixed-small variance, EMA 0.999 with warm-up. Floor 0.0634: 500 real images against the other real ones. Protocol 30bc71d10574. Step 10: 12.96 to 13.70, above the plot. <nil>
}

// In a notebook: plots.LossCurve(lab.Runs(cfg))
func ExampleLossCurve() {
	figure, err := plots.LossCurve(tour()[:2])
	fmt.Println(figure, err)
	// Output:
	// training loss
	// line    points  first    least     last  mean of the last tenth  at step
	// ------  ------  -----  -------  -------  ----------------------  -------
	// ADM      1,500  1.034  0.07277  0.07347                 0.09055    1,500
	// ADM-WD   1,500  1.245  0.07389  0.09551                 0.08921    1,500
	// Lines: mean over 37 points; faint: every value. Losses: Eq. 6 (ADM, ADM-WD); AdamW's weight decay is outside the loss. <nil>
}

func ExampleCurve() {
	figure := plots.Curve(display.Curve{
		Title: "loss", XLabel: "step", YLabel: "loss", LogY: true,
		Lines: []display.Line{{Name: "ADM", X: []float64{1, 10, 100}, Y: []float64{1.1, 0.52, 0.2}}},
	})
	fmt.Println(figure)
	// Output:
	// loss
	// step   ADM
	// ----  ----
	//    1   1.1
	//   10  0.52
	//  100   0.2
}

// In a notebook: plots.SampleGrid(lab.Samples(ctx, run, 16, 50))
func ExampleSampleGrid() {
	figure, err := plots.SampleGrid(samples(run(ddpm.ADM(), 1, 0.62), 16, 14, 1))
	fmt.Println(figure, err)
	// Output:
	// samples of ADM, step 1,500
	// model            images     size  sampling steps  seed    mean   least  largest
	// ---------------  ------  -------  --------------  ----  ------  ------  -------
	// ADM, step 1,500      16  14×14×1              50     1  -0.301  -1.000    0.995
	// 50 steps of Alg. 2, seed 1, not selected. <nil>
}

// In a notebook: plots.BiasTable(lab.Bias(ctx, lab.Runs(cfg), 100, 300, 600, 1000))
func ExampleBiasTable() {
	table, err := plots.BiasTable(bias(run(ddpm.ADM(), 1, 0.62)))
	fmt.Println(table, err)
	// Output:
	// Exposure bias: L1 distance per pixel between x_0 and what the reverse chain makes of it (Alg. 3), by chain length
	// model  x_0 from                       100              300              600            1,000
	// -----  -----------------  ---------------  ---------------  ---------------  ---------------
	// ADM    chain              0.0491 ± 0.0012  0.0943 ± 0.0024  0.1488 ± 0.0037  0.4413 ± 0.0110
	//        chain, as written  0.0491 ± 0.0012  0.0943 ± 0.0024  0.1503 ± 0.0045  2.8243 ± 0.8826
	//        one step           0.0466 ± 0.0011  0.0902 ± 0.0021  0.1589 ± 0.0033  0.7749 ± 0.0098
	// Ning et al. 2023, Table 1 (ImageNet 32×32): another data set and network, not comparable
	// ADM    chain                       0.0539           0.1074           0.1812           0.8165
	// Mean over the first 64 images of fashion-mnist, ± standard error; EMA weights, no dropout; predictions of x₀ clipped to [-1, 1] but where it says as written.
	// One step: the mean over all x_0 that x_t could come from, blurry at large t and no lower bound; a chain may end below it.
	// Where both rows are nearly equal, the error is information that x_t no longer holds; only what a chain has more than one step can be accumulated error. <nil>
}

// In a notebook: plots.DriftTable(lab.Bias(ctx, lab.Runs(cfg), 100, 300, 600, 1000))
func ExampleDriftTable() {
	table, err := plots.DriftTable(bias(run(ddpm.ADM(), 1, 0.62)))
	fmt.Println(table, err)
	// Output:
	// Drift of a sampling chain from the inputs of training (ADM-ES), by the time t of the schedule
	// model  measure                999           789           579          421          211            0
	// -----  ------------  ------------  ------------  ------------  -----------  -----------  -----------
	// ADM    δ_t                  1e-05         0.033         0.049        0.049        0.033        1e-05
	//        its floor          2.4e-05         2e-05       1.6e-05      1.2e-05      8.2e-06        4e-06
	//        ‖ε‖ sampling  14.14 ± 0.02  12.76 ± 0.02  11.19 ± 0.02  9.85 ± 0.02  7.68 ± 0.02  4.52 ± 0.02
	//        ‖ε‖ training  14.00 ± 0.02  12.61 ± 0.02  11.04 ± 0.02  9.69 ± 0.02  7.54 ± 0.02  4.43 ± 0.02
	// A chain of 20 steps, fixed-small variance, from noised images; 64 images, predictions of x_0 clipped; it goes from left to right.
	// δ_t: squared difference of the standard deviations of x_t - √ᾱ·x_0 in sampling and in training; its floor: that of as many inputs of training.
	// ‖ε‖: mean L2 norm of the predicted noise, ± standard error; larger in sampling is exposure bias that epsilon scaling repairs. <nil>
}

// In a notebook: plots.ErrorTable(lab.Bias(ctx, lab.Runs(cfg), 100, 300, 600, 1000))
func ExampleErrorTable() {
	table, err := plots.ErrorTable(bias(run(ddpm.ADM(), 1, 0.62)))
	fmt.Println(table, err)
	// Output:
	// Errors of predicting x_0 in one step, by the time t of the schedule
	// model  measure          0     200     400     590     790     990
	// -----  ----------  ------  ------  ------  ------  ------  ------
	// ADM    ν_t         0.0200  0.1201  0.2202  0.3153  0.4154  0.5155
	//        not normal    40 %    34 %    28 %    22 %    16 %    10 %
	// ν_t: standard deviation over 64 images of the error of the clipped prediction, mean over pixels.
	// Not normal: share of pixels at which the test of Shapiro and Wilk rejects at p < 0.05, on 64 images; 5 % where errors are normal. Pixels with the same error in all images are left out. <nil>
}

// In a notebook: plots.VariantsTable(lab.Runs(cfg))
func ExampleVariantsTable() {
	table, err := plots.VariantsTable(tour())
	fmt.Println(table, err)
	// Output:
	// Last FD (fashion-cnn) of each variant, lower is better
	// model        FD (fashion-cnn)  n seeds  N samples  sampling steps  training step
	// -----------  ----------------  -------  ---------  --------------  -------------
	// ADM                  0.6504 †        1        500              50          1,500
	// ADM-WD               0.7034 †        1        500              50          1,500
	// ADM-GP               0.6905 †        1        500              50          1,500
	// DDPM-IP              0.5511 †        1        500              50          1,500
	// real images            0.0634        –        500               –              –
	// Ning et al. 2023, Table 3, FID on CIFAR-10: another protocol (metric, data, network), not comparable
	// ADM                      3.58              50,000           1,000        200,000
	// ADM-GP                   3.28              50,000           1,000        200,000
	// ADM-WD                   3.34              50,000           1,000        200,000
	// DDPM-IP                  3.25              50,000           1,000        200,000
	// † Of one seed: how much another would change is not known, differences may be luck.
	// Floor 0.0634: 500 real images against the other real ones.
	// FD (fashion-cnn) of 500 samples against 10000 images of fashion-mnist; ancestral sampling, 50 steps, fixed-small variance, EMA 0.999 with warm-up.
	// Protocol 30bc71d10574. <nil>
}

// In a notebook: plots.StepsTable(lab.Sweep(ctx, lab.Runs(cfg), 10, 20, 50, 100))
func ExampleStepsTable() {
	table, err := plots.StepsTable(sweep(run(ddpm.ADM(), 1, 0.62), run(ddpm.InputPerturbation(0.1), 1, 0.55)))
	fmt.Println(table, err)
	// Output:
	// FD (fashion-cnn) by the number of sampling steps, lower is better
	// model                         10     20     50    80    100   300  1,000
	// -------------------------  -----  -----  -----  ----  -----  ----  -----
	// ADM                        2.914  0.726  0.431        0.264
	// DDPM-IP                    2.797  0.697  0.414        0.254
	// Ning et al. 2023, Table 2, FID: another metric, data set and network, not comparable
	// ADM, CIFAR-10                                   3.74   3.56  3.47   3.58
	// DDPM-IP, CIFAR-10                               3.26   3.12  3.14   3.25
	// ADM, ImageNet 32×32                             4.61   4.26  3.58   3.60
	// DDPM-IP, ImageNet 32×32                         3.57   3.24  2.74   2.87
	// ADM, LSUN tower 64×64                           5.66   4.79  4.54   4.66
	// DDPM-IP, LSUN tower 64×64                       4.27   4.13  3.79   4.05
	// N = 500 samples a score, from one training seed a row.
	// Floor 0.0634: 500 real images against the other real ones.
	// FD (fashion-cnn) against 10,000 images of fashion-mnist; ancestral sampling, fixed-small variance, EMA 0.999 with warm-up. <nil>
}

// A figure goes into a paper as SVG, and onto a slide as PNG.
func ExampleFigure_Save() {
	figure, err := plots.FDCurve(tour())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(figure.Save("fd.jpeg"))
	// Output: save figure as fd.jpeg: unknown ending ".jpeg"; use .svg, .png or .txt
}

// Package fid scores generated images by the Fréchet distance between the
// Gaussians fitted to their features and to those of real images (Heusel et
// al., 2017):
//
//	d² = |μ₁-μ₂|² + tr(Σ₁ + Σ₂ - 2(Σ₁Σ₂)^(1/2))
//
// The number means nothing without its [Protocol]: the extractor of the
// features, how many images, against which reference set, how they were
// sampled. "FID" is the name for features of the Inception network of 2015 and
// for no other. The extractor here, [FashionCNN], is a small classifier of
// Fashion-MNIST, and the distance in its features is called "FD (fashion-cnn)".
// It was trained by this project (TrainFashionCNN, the command
// `ddpmlab data train-extractor`) on the 60,000 training images; the reference
// set of the scores is the other 10,000, the test images, on which the diffusion
// models train and which the classifier was not trained on.
//
// The classifier's test accuracy is 0.9136. That is a little favoured: four
// combinations of head and augmentation were compared by it, since no images
// were set aside for the choice. In its features real images of the training set
// are 0.73 ± 0.09 from the reference set at N = 1000, 0.41 ± 0.06 at 2000 and
// 0.13 ± 0.02 at 10,000 (all 60,000: 0.08), pure noise is 172 away, and the sum of
// the variances is 63. Of the reference set's own images, 1000 are 0.75 ± 0.11
// from the other 9000, so that having been trained on the 60,000 does not show
// within the spread of ten draws.
//
// A finite number of images has a distance above zero even if they are real:
// [Floor] measures it, [NoiseLevels] does so for other metrics too, and a score is to
// be read beside it.
//
// [Evaluate] scores a [Source] of images against another or a [Reference], by any of the
// [Metrics]; [Plan] tells beforehand what it would find or refuse, [Compare] how sure the
// difference of two sources is. The functions behind them take features: [Frechet],
// [PrecisionRecall], [KernelDistance], [ClassScore], [Extrapolate], [PairedBootstrap].
package fid

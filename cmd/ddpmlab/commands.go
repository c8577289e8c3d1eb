package main

// commands is the table of all commands, in the order of the overview.
var commands = []command{
	notebookRun, notebookLab, kernelInstall, kernelServe,
	train, sample, bias, evaluateRef, evaluateNoise, evaluateCompare, evaluate,
	runsList, runsShow, runsCompare, runsDiff, runsSQL, runsVerify, runsNotebook, runsWatch,
	runsExport, runsImport, runsPush,
	sweepPlan, sweepRun, sweepStatus, sweepSlurm,
	runsTag, runsNote, runsGroup, runsDelete, runsRestore, runsGC, runsMerge, runsCopy,
	checkpointInspect, checkpointConvert,
	dataList, dataInfo, dataFetch, dataTrainExtractor,
	benchEngine, benchEvaluate, benchStore, benchKernel, benchWorker,
	gpuCheck, gpuSpeed, gpuReport, gpuPhase,
	doctor, version,
}

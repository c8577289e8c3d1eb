package main

// commands is the table of all commands, in the order of the overview.
var commands = []command{
	notebookRun, notebookLab, kernelInstall, kernelServe,
	train, sample, bias, evaluate,
	runsList, runsShow,
	checkpointInspect, checkpointConvert,
	dataList, dataInfo, dataFetch, dataTrainExtractor,
	benchEngine, benchWorker,
	doctor, version,
}
